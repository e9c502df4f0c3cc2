// Keeps Plumbline's findings in a file, each event once, and commits what the file holds.
//
// Settings are environment variables, see docs/how-to/consume-findings.md. SIGTERM and Ctrl-C end it after the batch.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		slog.Error("stopped", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	findings, err := openFindings(setting("FINDINGS_FILE", "findings.ndjson"))
	if err != nil {
		return err
	}
	defer findings.close()
	options, err := kafkaOptions()
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	if err := reach(ctx, client); err != nil {
		return err
	}
	return consume(ctx, client, findings)
}

// reach tells at once what polling would try again and again: an address, a certificate or a login that is wrong.
func reach(ctx context.Context, client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		return fmt.Errorf("the broker is not there, or refuses the login: %w", err)
	}
	return nil
}

// consume goes batch by batch: handle, make it durable, then commit. Within a partition, and so within a key, order
// holds. No partition moves to another member between reading a batch and its commit.
func consume(ctx context.Context, client *kgo.Client, findings *findings) error {
	for {
		batch := client.PollRecords(ctx, 500)
		if ctx.Err() != nil {
			return nil
		}
		if err := batch.Err(); err != nil {
			return fmt.Errorf("the broker cannot be read: %w", err)
		}
		for _, record := range batch.Records() {
			if err := handle(record, findings); err != nil {
				return fmt.Errorf("partition %d, offset %d: %w", record.Partition, record.Offset, err)
			}
		}
		if err := findings.sync(); err != nil {
			return err
		}
		if err := client.CommitRecords(context.WithoutCancel(ctx), batch.Records()...); err != nil {
			slog.Warn("not committed, so it comes again", "error", err)
		}
		client.AllowRebalance()
	}
}

// handle is where you put what you do with an event. It may be called again for one whose commit was lost.
func handle(record *kgo.Record, findings *findings) error {
	found, err := readFinding(record.Value)
	if err != nil {
		return err
	}
	isNew, err := findings.add(found, record.Value)
	if isNew {
		slog.Info(found.Message, "activity", found.Activity, "severity", found.Severity, "finding", found.Info.UID)
	}
	return err
}

func kafkaOptions() ([]kgo.Opt, error) {
	bootstrap := os.Getenv("KAFKA_BOOTSTRAP")
	if bootstrap == "" {
		return nil, errors.New("KAFKA_BOOTSTRAP is not set: host:port of a broker")
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...),
		kgo.ConsumeTopics(setting("KAFKA_TOPIC", "plumbline.compliance-findings")),
		kgo.ConsumerGroup(setting("KAFKA_GROUP", "findings-file")),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(10 * time.Second),
		kgo.WithLogger(kgo.BasicLogger(os.Stderr, kgo.LogLevelWarn, nil)),
	}
	user := os.Getenv("KAFKA_USER")
	if user == "" {
		return options, nil
	}
	secure, err := tlsAndScram(user)
	return append(options, secure...), err
}

func tlsAndScram(user string) ([]kgo.Opt, error) {
	password, err := os.ReadFile(os.Getenv("KAFKA_PASSWORD_FILE"))
	if err != nil {
		return nil, fmt.Errorf("KAFKA_PASSWORD_FILE: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if path := os.Getenv("KAFKA_CA_FILE"); path != "" {
		certificates, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("KAFKA_CA_FILE: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(certificates) {
			return nil, fmt.Errorf("KAFKA_CA_FILE: %s holds no certificate", path)
		}
	}
	login := scram.Auth{User: user, Pass: strings.TrimSpace(string(password))}
	return []kgo.Opt{kgo.DialTLSConfig(config), kgo.SASL(login.AsSha512Mechanism())}, nil
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

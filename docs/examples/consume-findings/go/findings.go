package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
)

// remembered is how many event ids are kept to tell a duplicate. One comes soon after the first, or when offsets are
// set back.
const remembered = 100_000

// finding is what this program uses of an event. All else may be there or not, and may grow.
type finding struct {
	Activity string `json:"activity_name"`
	Severity string `json:"severity"`
	Message  string `json:"message"`
	Metadata struct {
		UID string `json:"uid"`
	} `json:"metadata"`
	Info struct {
		UID string `json:"uid"`
	} `json:"finding_info"`
}

// readFinding fails when something that is promised is missing. The contract has no such record: stop, look at it, and
// do not pass over it.
func readFinding(value []byte) (finding, error) {
	var found finding
	if err := json.Unmarshal(value, &found); err != nil {
		return found, fmt.Errorf("not a finding: %w", err)
	}
	if found.Metadata.UID == "" || found.Info.UID == "" {
		return found, errors.New("not a finding: metadata.uid or finding_info.uid is missing")
	}
	return found, nil
}

// findings is a file with one event per line, as it came. What stands in it is remembered at the next start.
type findings struct {
	file  *os.File
	seen  map[string]struct{}
	order []string
}

func openFindings(path string) (*findings, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	opened := &findings{file: file, seen: map[string]struct{}{}}
	end, err := opened.recall()
	if err != nil {
		return nil, err
	}
	return opened, file.Truncate(end)
}

// recall returns where the last whole line ends; one that was not written to its end comes again.
func (f *findings) recall() (int64, error) {
	lines, end := bufio.NewReader(f.file), int64(0)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(line) > 0 {
				slog.Warn("the last line was not written to its end; it is cut off and comes again")
			}
			return end, nil
		}
		if err != nil {
			return 0, err
		}
		found, err := readFinding(line)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", f.file.Name(), err)
		}
		f.remember(found.Metadata.UID)
		end += int64(len(line))
	}
}

// add tells whether the event was new.
func (f *findings) add(found finding, value []byte) (bool, error) {
	if _, known := f.seen[found.Metadata.UID]; known {
		return false, nil
	}
	line := append(append(make([]byte, 0, len(value)+1), value...), '\n')
	if _, err := f.file.Write(line); err != nil {
		return false, err
	}
	f.remember(found.Metadata.UID)
	return true, nil
}

// sync returns once all is on the disk.
func (f *findings) sync() error { return f.file.Sync() }

func (f *findings) close() error { return f.file.Close() }

func (f *findings) remember(uid string) {
	f.seen[uid] = struct{}{}
	f.order = append(f.order, uid)
	if len(f.order) > remembered {
		delete(f.seen, f.order[0])
		f.order = f.order[1:]
	}
}

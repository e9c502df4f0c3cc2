"""The pure core: a snapshot's rows in, control results out. No I/O, no clock, no Kafka."""

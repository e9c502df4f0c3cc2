"""Which replica looks after what: the owner of the partition of `control-results` that a key belongs to."""

from aiokafka import AIOKafkaConsumer
from aiokafka.partitioner import DefaultPartitioner


class Shards:
    """The partitions, by the partitioner that producers use for records of the same key."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer, self._topic = consumer, topic
        self._partition = DefaultPartitioner()

    def partition_of(self, key: str) -> int:
        """The partition of a key such as `tenant/instance`. The consumer must have been started."""
        partitions = sorted(self._consumer.partitions_for_topic(self._topic))
        return int(self._partition(key.encode(), partitions, partitions))

    def mine(self) -> set[int]:
        """The partitions that this replica holds now."""
        return {place.partition for place in self._consumer.assignment() if place.topic == self._topic}

    def owns(self, key: str) -> bool:
        """Whether this replica holds the partition of a key now."""
        return self.partition_of(key) in self.mine()

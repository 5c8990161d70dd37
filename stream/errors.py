"""What can go wrong between a camera's record and a delivered event.

StreamError
+-- UnusableRecord     this record is dead-lettered; the stream goes on
+-- DeliveryFailed     events could not be delivered; the partition must start over from what was committed
+-- SourceLost         the source cannot be read any more; the process ends and is restarted
+-- StateRefused       stored state is of another version, damaged or another group's; its partition must not go on from it
+-- StreamRefused      the stream must not be started as it is configured; the process ends with this sentence
    +-- TopicMissing   a topic, or a partition of it, is not there
"""


class StreamError(Exception):
    """A failure of the stream that names the value at fault and the remedy."""


class UnusableRecord(StreamError):
    """A record that can never become frames: it goes to the dead-letter topic exactly once and the partition goes on."""

    def __init__(self, stage: str, reason: str, message: str) -> None:
        """Say where, why and what.

        Args:
            stage: `wire` (headers, key, size) or `decode` (payload).
            reason: short machine word such as `empty_key` or `no_keyframe`: a counter's label, never free text.
            message: one sentence for a person, with the value at fault.
        """
        super().__init__(message)
        self.stage = stage
        self.reason = reason


class DeliveryFailed(StreamError):
    """Events or dead letters were not acknowledged; nothing of this tick may be taken as delivered."""


class SourceLost(StreamError):
    """The source of records failed for good."""


class StateRefused(StreamError):
    """Stored state that this program cannot read, or that is not its group's."""


class StreamRefused(StreamError):
    """A wrong topic, setting or permission: restarting does not help before somebody mends it."""


class TopicMissing(StreamRefused):
    """A topic that is not there, or may not be seen, or that lacks a partition."""

"""What notes/exactly-once.md asks of the fault suite, sentence by sentence, and the scenarios that hold it.

The keys are the note's numbers, the words are those behind "Suite:".
"""

from collections.abc import Mapping

SUITE: Mapping[int, Mapping[str, tuple[str, ...]]] = {
    1: {
        "header key ff fe": ("1-bad-header-key",),
        "a CRC-corrupt batch": ("1-corrupt-batch",),
        "a foreign zstd publisher": ("1-foreign-zstd",),
        "conservation on the neighbours": ("1-bad-header-key", "1-corrupt-batch", "1-foreign-zstd"),
    },
    2: {
        "EndTxn held, 20 times": ("2-late-end-txn",),
        "AddPartitions held, 20 times": ("2-late-add-partitions",),
        "InitProducerId held, 20 times": ("2-late-init-producer-id",),
        "a crash point between alert and state": ("19-all-killed-in-transaction",),
    },
    3: {
        "fence all ids just before SIGTERM": ("3-fenced-before-term",),
        "broker stalled in the flush": ("3-broker-stalled-in-flush",),
        "group offsets reset forward, back, deleted": ("3-group-offsets-reset",),
    },
    4: {
        "fence with full queues without a rebalance": ("4-fenced-with-full-queues",),
        "revoke and reassign to the same worker during inference": ("4-reassigned-to-itself",),
    },
    5: {
        "broker stopped for 0.5, 1, 3 times deadline and session timeout": ("5-broker-stalls-deadline-and-session",),
        "broker stopped for 0.5, 1, 3 times transaction timeout": ("5-broker-stalls-transaction",),
        "sender tasks, descriptors and RSS counted": ("5-broker-stalls-deadline-and-session", "5-broker-stalls-transaction"),
    },
    6: {
        "frames recreated": ("6-frames-recreated",),
        "state recreated": ("6-state-recreated",),
        "retention overtakes": ("6-retention-overtakes",),
        "truncation": ("6-frames-truncated",),
    },
    7: {
        "a foreign transaction during handover, ended and never ended": ("7-foreign-transaction", "14-restore-past-the-interval")
    },
    8: {
        "two groups on one frames topic": ("8-two-groups",),
        "partitions added while running": ("8-partitions-added",),
        "state deleted": ("8-state-deleted", "6-state-recreated"),
    },
    9: {
        "short forget_after_s with kills between tombstone and checkpoint": ("9-kills-at-tombstones",),
        "a camera that moves and returns": ("9-camera-moves", "9-camera-returns"),
    },
    10: {
        "broker outage > lost_after_s with living cameras": ("10-outage",),
        "all workers down that long": ("10-all-workers-away",),
        "rebalances every lost_after_s/2 with a dead camera": ("10-rebalances-with-dead-camera",),
        "backlog upload": ("10-backlog",),
        "clock jump": ("10-clock-jump", "11-clock-steps"),
    },
    11: {
        "clock steps of +-1 h and to 1970 and 2099": ("11-clock-steps",),
        "publisher killed and restarted with repeats, same and new stream uuid": ("11-publisher-repeats",),
    },
    12: {
        "kill at every packet of a B-frame GOP": ("12-kills-in-gop",),
        "a segment split over batches": ("12-kills-in-segments",),
        "a camera dead in mid-GOP and retention": ("12-camera-dead-in-gop", "12-keyframe-gone"),
    },
    13: {"rolling restart N, N+1, N with a behaviour added, removed, re-thresholded under kills": ("13-rolling-deploy",)},
    14: {
        "more workers than partitions past the interval, then the owners killed": ("14-spare-takes-over",),
        "a restore longer than it": ("14-restore-past-the-interval",),
    },
    15: {
        "the proxy swallows APIs 8 to 14 for three sessions": ("15-group-coordinator-lost",),
        "a late InitProducerId by a zombie and by oneself": ("15-late-init-of-a-zombie", "2-late-init-producer-id"),
        "crash points before and after init and before seek": ("15-crash-points-of-a-start",),
    },
    16: {
        "2 MiB, before and after the dead letter's send and the commit": ("16-dead-letter-of-2-mib",),
        "null key with null value, likewise": ("16-dead-letter-of-nothing",),
        "a frame at the limit, likewise": ("16-dead-letter-at-the-limit",),
    },
    17: {
        "a SIGSEGV record": ("17-segfault-record",),
        "a hanging record": ("17-hanging-record",),
        "two poisons on two partitions of one worker": ("17-two-poisons",),
        "10 plain kill -9 at one offset": ("17-plain-kills",),
    },
    18: {"cleaner at 0.5 s, segment.ms 500, delete.retention.ms 0, with aborts and an id change": ("18-compaction",)},
    19: {
        "one leader of three nodes down": ("19-leader-down",),
        "revoke during a batch longer than the rebalance timeout": ("4-reassigned-to-itself",),
        "all workers killed in mid-transaction": ("19-all-killed-in-transaction",),
    },
}

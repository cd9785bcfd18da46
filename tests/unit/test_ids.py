import time

from events.ids import derived_id, new_id


def test_an_id_is_a_uuidv7_that_sorts_by_its_time() -> None:
    before = time.time_ns() // 1_000_000
    id_ = new_id()
    after = time.time_ns() // 1_000_000
    assert id_.version == 7
    assert id_.variant == "specified in RFC 4122"
    assert before <= id_.int >> 80 <= after


def test_new_ids_do_not_repeat() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000


def test_a_derived_id_is_the_same_each_time_and_differs_by_name_and_parent() -> None:
    parent, other = new_id(), new_id()
    child = derived_id(parent, "job.created")
    assert child == derived_id(parent, "job.created")
    assert child != derived_id(parent, "job.started")
    assert child != derived_id(other, "job.created")
    assert child.version == 7
    assert child.int >> 80 == parent.int >> 80, "it sorts beside its parent"

"""One contract for every broker: what the services rely on, on RabbitMQ and in memory."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import replace

import aio_pika
import pytest
import pytest_asyncio
import uvloop
from aiormq.abc import AbstractChannel

from deploy.rabbitmq import RabbitServer
from events.broker.broker import Broker, Exchange, Message, Queue, task_queue
from events.broker.by_url import open_broker
from events.broker.measured import MeasuredBroker
from events.broker.memory import MemoryBroker
from events.broker.patterns import matcher
from events.broker.rabbitmq import RabbitBroker
from events.broker.rabbitmq_pages import Page
from events.errors import BrokerUnavailable, Conflict, PartlyConfirmed, StartupError, Unroutable
from events.metrics.metrics import Metrics
from events.running.tasks import end
from fixtures.way import Way


@pytest.fixture(params=["memory", "rabbitmq"])
def address(request: pytest.FixtureRequest) -> str:
    return "memory://" if request.param == "memory" else str(request.getfixturevalue("broker_url"))


@pytest_asyncio.fixture
async def broker(address: str) -> AsyncIterator[Broker]:
    """As services have it: measured."""
    async with open_broker(address, name="test") as broker:
        yield MeasuredBroker(broker, Metrics())


def message(number: int, **headers: str) -> Message:
    return Message(f"m-{number}", b"body %d" % number, "upload.completed", headers)


async def publish(broker: Broker, count: int, exchange: Exchange = Exchange.INTAKE) -> None:
    for number in range(count):
        await broker.publish(exchange, message(number))


async def test_a_message_arrives_as_it_was_sent(broker: Broker) -> None:
    sent = message(1, traceparent="00-aa-bb-01", tenant="acme")
    await broker.publish(Exchange.INTAKE, sent)
    async with broker.consume(Queue.INTAKE, prefetch=1) as deliveries:
        delivery = await anext(deliveries)
        assert delivery.message == sent
        assert not delivery.redelivered
        await delivery.ack()


async def test_messages_wait_for_a_consumer_and_come_in_order(broker: Broker) -> None:
    await publish(broker, 10)
    assert await broker.depth(Queue.INTAKE) == 10
    async with broker.consume(Queue.INTAKE, prefetch=10) as deliveries:
        assert [(await anext(deliveries)).message.id for _ in range(10)] == [f"m-{n}" for n in range(10)]


async def test_no_more_than_the_prefetch_is_unsettled(broker: Broker) -> None:
    await publish(broker, 5)
    async with broker.consume(Queue.INTAKE, prefetch=2) as deliveries:
        first, _ = await anext(deliveries), await anext(deliveries)
        third = asyncio.ensure_future(anext(deliveries))
        assert not (await asyncio.wait((third,), timeout=0.3))[0], "two are unsettled"
        await first.ack()
        assert (await third).message.id == "m-2"


async def test_what_was_acked_does_not_come_again_and_what_was_not_does(broker: Broker) -> None:
    await publish(broker, 3)
    async with broker.consume(Queue.INTAKE, prefetch=3) as deliveries:
        taken = [await anext(deliveries) for _ in range(3)]
        await taken[0].ack()
    async with broker.consume(Queue.INTAKE, prefetch=3) as deliveries:
        again = [await anext(deliveries) for _ in range(2)]
        assert {delivery.message.id for delivery in again} == {"m-1", "m-2"}
        assert all(delivery.redelivered for delivery in again)


async def test_what_is_rejected_comes_again(broker: Broker) -> None:
    await publish(broker, 1)
    async with broker.consume(Queue.INTAKE, prefetch=1) as deliveries:
        await (await anext(deliveries)).reject()
        again = await anext(deliveries)
        assert again.redelivered
        await again.ack()
        await again.ack()  # settled once is settled


async def test_two_consumers_share_a_queue(broker: Broker) -> None:
    async with (
        broker.consume(Queue.INTAKE, prefetch=1) as ours,
        broker.consume(Queue.INTAKE, prefetch=1) as theirs,
    ):
        await publish(broker, 2)
        ids = {(await anext(ours)).message.id, (await anext(theirs)).message.id}
        assert ids == {"m-0", "m-1"}


async def test_every_subscriber_hears_everything_from_when_it_began(broker: Broker) -> None:
    await broker.publish(Exchange.FEED, message(0))
    async with (
        broker.subscribe(Exchange.FEED, limit=10) as ours,
        broker.subscribe(Exchange.FEED, limit=10) as theirs,
    ):
        await heard_when_ready(broker, ours, theirs)
        await broker.publish(Exchange.FEED, message(1))
        assert (await anext(ours)).id == "m-1"
        assert (await anext(theirs)).id == "m-1"


async def heard_when_ready(broker: Broker, *subscriptions: AsyncIterator[Message]) -> None:
    """A subscription begins at some moment after it was asked for: publish until each has heard something."""
    pending = [asyncio.ensure_future(anext(subscription)) for subscription in subscriptions]
    while not all(task.done() for task in pending):
        await broker.publish(Exchange.FEED, Message("ready", b""))
        await asyncio.wait(pending, timeout=0.05)
    await broker.publish(Exchange.FEED, Message("end of ready", b""))
    for subscription in subscriptions:
        while (await anext(subscription)).id != "end of ready":
            pass


async def test_who_gives_up_waiting_for_a_message_hears_the_next_one(broker: Broker) -> None:
    async with broker.subscribe(Exchange.FEED, limit=10) as subscription:
        await heard_when_ready(broker, subscription)
        waiting = asyncio.ensure_future(anext(subscription))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait((waiting,))
        await broker.publish(Exchange.FEED, message(1))
        assert (await anext(subscription)).id == "m-1"


async def test_a_full_subscription_drops_the_oldest(broker: Broker) -> None:
    async with broker.subscribe(Exchange.FEED, limit=5) as subscription:
        await heard_when_ready(broker, subscription)
        for number in range(200):
            await broker.publish(Exchange.FEED, message(number))
        heard = [(await anext(subscription)).id]
        while heard[-1] != "m-199":
            heard.append((await anext(subscription)).id)
        assert heard == sorted(heard, key=lambda id_: int(id_[2:])), "dropped, but never reordered"


async def test_nobody_needs_to_listen_to_feeds_and_events(broker: Broker) -> None:
    await broker.publish(Exchange.FEED, message(1))
    await broker.publish(Exchange.EVENTS, message(2))


def a_task(number: int, queue: str = "thumbnails") -> Message:
    return Message(f"t-{number}", b"task %d" % number, queue, {"tenant": "acme"})


async def test_a_task_for_a_queue_that_nobody_made_is_refused_and_waits_once_somebody_has(broker: Broker) -> None:
    with pytest.raises(Unroutable):
        await broker.publish(Exchange.TASKS, a_task(1))
    assert await broker.depth(task_queue("thumbnails")) == 0
    await broker.declare_tasks("thumbnails")
    await broker.publish(Exchange.TASKS, a_task(1))
    await broker.declare_tasks("thumbnails")  # whoever comes later finds it
    assert await broker.depth(task_queue("thumbnails")) == 1
    async with broker.take("thumbnails") as deliveries:
        delivery = await anext(deliveries)
        assert delivery.message == a_task(1)
        await delivery.ack()


async def test_a_task_goes_to_its_own_queue_alone(broker: Broker) -> None:
    await broker.declare_tasks("thumbnails")
    await broker.declare_tasks("thumbnails.large")
    await broker.publish(Exchange.TASKS, a_task(1, "thumbnails.large"))
    assert await broker.depth(task_queue("thumbnails")) == 0
    assert await broker.depth(task_queue("thumbnails.large")) == 1


async def test_what_nobody_has_asked_for_waits_for_everybody(broker: Broker) -> None:
    """celery #6760: what a worker had prefetched waited behind its long task, was nobody else's, and after half an hour
    RabbitMQ closed the channel, with the long task's own delivery."""
    await broker.declare_tasks("thumbnails")
    for number in range(3):
        await broker.publish(Exchange.TASKS, a_task(number))
    async with broker.take("thumbnails") as ours, broker.take("thumbnails") as theirs:
        long_one = await anext(ours)
        await long_one.ack()
        assert await broker.depth(task_queue("thumbnails")) == 2, "the second is not on its way to us"
        others = [await anext(theirs) for _ in range(2)]
        assert [delivery.message.id for delivery in others] == ["t-1", "t-2"]


async def test_what_was_taken_and_not_settled_comes_again(broker: Broker) -> None:
    await broker.declare_tasks("thumbnails")
    await broker.publish(Exchange.TASKS, a_task(1))
    async with broker.take("thumbnails") as deliveries:
        await anext(deliveries)
    async with broker.take("thumbnails") as deliveries:
        again = await anext(deliveries)
    assert (again.message.id, again.redelivered) == ("t-1", True)


async def test_somebody_who_stops_waiting_for_a_task_takes_none_with_him(broker: Broker) -> None:
    await broker.declare_tasks("thumbnails")
    async with broker.take("thumbnails") as deliveries:
        waiting = asyncio.ensure_future(anext(deliveries))
        await asyncio.wait((waiting,), timeout=0.3)
        waiting.cancel()
        await asyncio.wait((waiting,))
    await broker.publish(Exchange.TASKS, a_task(1))
    async with broker.take("thumbnails") as deliveries:
        assert (await anext(deliveries)).message.id == "t-1"


async def test_a_purge_empties_the_queue_and_says_how_much_it_held(broker: Broker) -> None:
    await publish(broker, 7, Exchange.DEAD)
    assert await broker.purge(Queue.DEAD) == 7
    assert await broker.depth(Queue.DEAD) == 0


async def test_many_publishers_at_once_all_get_their_confirm(broker: Broker) -> None:
    await asyncio.gather(*(broker.publish(Exchange.INTAKE, message(number)) for number in range(500)))
    assert await broker.depth(Queue.INTAKE) == 500


def page(count: int) -> list[Message]:
    return [message(number, traceparent=f"00-aa-{number}-01") for number in range(count)]


async def test_a_page_of_messages_arrives_whole_and_in_order_beside_what_is_published_singly(broker: Broker) -> None:
    singles = [Message(f"s-{number}", b"one", "upload.completed") for number in range(50)]
    await asyncio.gather(
        broker.publish_all(Exchange.INTAKE, page(500)),
        *(broker.publish(Exchange.INTAKE, single) for single in singles),
        broker.publish_all(Exchange.FEED, page(500)),
    )
    async with broker.consume(Queue.INTAKE, prefetch=600) as deliveries:
        arrived = [(await anext(deliveries)).message for _ in range(550)]
    assert [one for one in arrived if one.id[0] == "m"] == page(500)
    assert sorted(one.id for one in arrived if one.id[0] == "s") == sorted(one.id for one in singles)


async def test_a_page_may_be_empty_or_have_a_message_of_a_megabyte(broker: Broker) -> None:
    await broker.publish_all(Exchange.INTAKE, [])
    sent = [message(0), Message("m-1", b"x" * 1_000_003, "upload.completed"), Message("m-2", b"", "upload.completed")]
    await broker.publish_all(Exchange.INTAKE, sent)
    async with broker.consume(Queue.INTAKE, prefetch=3) as deliveries:
        assert [(await anext(deliveries)).message for _ in sent] == sent


async def test_of_a_page_it_is_told_how_many_of_the_first_are_confirmed(broker: Broker) -> None:
    """The fourth goes where nobody listens. What comes after it may have arrived, and is not counted."""
    await broker.declare_tasks("thumbnails")
    tasks = [a_task(number, "thumbnails" if number != 3 else "nowhere") for number in range(6)]
    with pytest.raises(PartlyConfirmed) as partly:
        await broker.publish_all(Exchange.TASKS, tasks)
    assert partly.value.confirmed == 3
    assert await broker.depth(task_queue("thumbnails")) >= 3
    with pytest.raises(PartlyConfirmed) as partly:  # at once: what forgets the first try must not forget the second
        await broker.publish_all(Exchange.TASKS, tasks[3:])
    assert partly.value.confirmed == 0
    await broker.declare_tasks("nowhere")
    await broker.publish_all(Exchange.TASKS, tasks[3:])
    assert await broker.depth(task_queue("nowhere")) == 1


async def test_a_broker_that_answers_can_be_pinged(broker: Broker) -> None:
    await broker.ping()


async def test_a_full_memory_queue_refuses_instead_of_growing() -> None:
    broker = MemoryBroker(capacity=2)
    await publish(broker, 2)
    with pytest.raises(BrokerUnavailable):
        await broker.publish(Exchange.INTAKE, message(3))


async def test_a_full_memory_queue_takes_of_a_page_what_it_has_room_for() -> None:
    with pytest.raises(PartlyConfirmed) as partly:
        await MemoryBroker(capacity=2).publish_all(Exchange.INTAKE, page(5))
    assert partly.value.confirmed == 2


async def test_a_full_queue_of_rabbitmq_takes_of_a_page_what_it_has_room_for(broker_url: str) -> None:
    async with open_broker(broker_url, name="test") as broker:
        await broker.ping()
        connection = await aio_pika.connect(broker_url)
        async with connection, connection.channel() as channel:
            full = await channel.declare_queue(arguments={"x-max-length": 10, "x-overflow": "reject-publish"})
            await full.bind(Exchange.EVENTS, "#")
            with pytest.raises(PartlyConfirmed) as partly:
                await broker.publish_all(Exchange.EVENTS, page(200))
            confirmed = partly.value.confirmed
            assert 10 <= confirmed < 200
            got = [await full.get() for _ in range(confirmed)]
            assert [one.message_id for one in got] == [one.id for one in page(confirmed)]


async def test_an_unknown_kind_of_broker_is_named_at_the_start() -> None:
    with pytest.raises(StartupError, match="MILLRACE_BROKER_URL"):
        async with open_broker("redis://127.0.0.1", name="test"):
            raise AssertionError("it must not open")


async def test_rabbitmq_away_is_said_at_once_and_forgiven_when_it_is_back(
    broker_url: str, rabbitmq_server: RabbitServer
) -> None:
    async with open_broker(broker_url, name="test") as broker, broker.consume(Queue.INTAKE, prefetch=4) as deliveries:
        await broker.publish(Exchange.INTAKE, message(1))
        stale = await anext(deliveries)
        await rabbitmq_server.kill()
        with pytest.raises(BrokerUnavailable):
            await broker.publish(Exchange.INTAKE, message(2))
        with pytest.raises(BrokerUnavailable):
            await broker.publish_all(Exchange.EVENTS, page(3))
        with pytest.raises(BrokerUnavailable):
            await broker.ping()
        await stale.ack()  # goes nowhere, and must not raise
        await rabbitmq_server.start()
        await broker.publish_all(Exchange.EVENTS, page(3))
        await broker.publish(Exchange.INTAKE, message(3))
        heard: set[str] = set()
        while heard != {"m-1", "m-3"}:
            delivery = await anext(deliveries)
            heard.add(delivery.message.id)
            await delivery.ack()


def test_a_rabbitmq_that_lets_in_and_ends_is_away() -> None:
    """So it does while it starts or stops. On the loop that services have, aiormq raises then what nothing took for a
    failure that passes: relays and outboxes stood still for good, in services that were well otherwise."""

    async def publish() -> None:
        broker = RabbitBroker(f"amqp://guest@127.0.0.1:{listener.getsockname()[1]}", name="test")
        for using in (broker.publish(Exchange.INTAKE, message(1)), broker.depth(Queue.INTAKE)):
            ended.clear()
            with pytest.raises(BrokerUnavailable):
                await on_a_busy_loop(asyncio.ensure_future(using))

    async def on_a_busy_loop(using: asyncio.Future[object]) -> None:
        """It looks at a connection when its end has come, too."""
        while not using.done():
            ended.wait(0.05)
            await asyncio.sleep(0)
        await using

    def let_in() -> None:
        for _ in range(2):
            client, _ = listener.accept()
            clients.append(client)
            client.shutdown(socket.SHUT_WR)
            ended.set()

    ended = threading.Event()
    with contextlib.ExitStack() as opened, asyncio.Runner(loop_factory=uvloop.new_event_loop) as services_loop:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        clients: list[socket.socket] = []
        letting_in = threading.Thread(target=let_in)
        letting_in.start()
        services_loop.run(publish())
        letting_in.join()
        for client in clients:
            client.close()


async def test_tasks_are_taken_again_once_rabbitmq_is_back(broker_url: str, rabbitmq_server: RabbitServer) -> None:
    async with open_broker(broker_url, name="test") as broker, broker.take("thumbnails") as deliveries:
        waiting = asyncio.ensure_future(anext(deliveries))
        await asyncio.wait((waiting,), timeout=0.5)
        await rabbitmq_server.restart()
        await broker.declare_tasks("thumbnails")
        await broker.publish(Exchange.TASKS, a_task(1))
        assert (await waiting).message.id == "t-1"


async def test_a_queue_that_somebody_made_otherwise_is_told_apart_from_a_broker_that_is_away(broker_url: str) -> None:
    async with open_broker(broker_url, name="test") as broker:
        connection = await aio_pika.connect(broker_url)
        async with connection, connection.channel() as channel:
            await channel.declare_queue(task_queue("thumbnails"), durable=True)
        with pytest.raises(Conflict, match="thumbnails"):
            await broker.declare_tasks("thumbnails")


async def pinged_for_ever(broker: Broker) -> None:
    while True:
        await broker.ping()


async def test_a_paused_rabbitmq_times_out_instead_of_hanging(broker_url: str, rabbitmq_server: RabbitServer) -> None:
    broker = RabbitBroker(broker_url, name="test")
    await broker.ping()
    rabbitmq_server.pause()
    try:
        with pytest.raises(BrokerUnavailable):
            await pinged_for_ever(broker)  # it may answer one before it stands still
    finally:
        rabbitmq_server.resume()
    await broker.ping()
    await broker.close()


async def test_a_page_that_is_confirmed_too_late_disturbs_nobody_after_it(broker_url: str) -> None:
    async with Way.to(broker_url) as way:
        connection = await aio_pika.connect(broker_url.replace(f":{way.server_port}/", f":{way.port}/"))
        async with connection, connection.channel() as channel:
            queue = await channel.declare_queue("theirs")
            underlying = await channel.get_underlay_channel()
            way.hold()
            with pytest.raises(PartlyConfirmed) as partly:
                await _publish_page(underlying, "theirs", patience=0.1)
            assert partly.value.confirmed == 0
            await way.mend()
            await _publish_page(underlying, "theirs", patience=10)
            await channel.default_exchange.publish(aio_pika.Message(b"last"), "theirs")
            ids = [(await queue.get()).message_id for _ in range(6)]
            assert ids == ["m-0", "m-1", "m-2"] * 2


async def _publish_page(channel: AbstractChannel, queue: str, *, patience: float) -> None:
    messages = [replace(one, routing_key=queue) for one in page(3)]
    await Page(channel, patience).publish("", messages, mandatory=True, persistent=True)


async def test_a_dead_letter_goes_to_its_group_alone(broker: Broker) -> None:
    letter = Message("m-1", b"{}", "billing", {"epoch": "1"})
    with pytest.raises(Unroutable):
        await broker.publish(Exchange.SUBSCRIBERS, letter)
    async with (
        broker.take("billing", exchange=Exchange.SUBSCRIBERS) as ours,
        broker.take("mailing", exchange=Exchange.SUBSCRIBERS) as theirs,
    ):
        waiting = [asyncio.ensure_future(anext(deliveries)) for deliveries in (ours, theirs)]
        while True:
            with contextlib.suppress(Unroutable):
                await broker.publish(Exchange.SUBSCRIBERS, letter)
                break
        assert (await waiting[0]).message == letter
        assert not waiting[1].done()
        await end(*waiting)


async def test_patterns_of_subscribers_mean_what_they_mean_to_rabbitmq(broker_url: str) -> None:
    patterns = ["#", "*", "*.*.*", "a.#", "#.c", "a.#.c", "*.b.*", "a.b.c", "#.b.#", "*.#", "#.*", "a.*.#.c", "x.#"]
    keys = ["a", "a.b", "a.b.c", "a.c", "a.x.c", "a.b.b.c", "b", "x", "x.b.c", "a.b.c.d", "A.b.c"]
    connection = await aio_pika.connect(broker_url)
    async with connection, connection.channel() as channel:
        exchange = await channel.declare_exchange("test", aio_pika.ExchangeType.TOPIC)
        queues = {pattern: await channel.declare_queue(exclusive=True) for pattern in patterns}
        for pattern, queue in queues.items():
            await queue.bind(exchange, routing_key=pattern)
        for key in keys:
            await exchange.publish(aio_pika.Message(key.encode()), key)
        for pattern, queue in queues.items():
            meant = matcher(pattern)
            there = [(await queue.get()).body.decode() for _ in range(sum(map(meant, keys)))]
            assert there == [key for key in keys if meant(key)], pattern
            assert await queue.get(fail=False) is None, pattern

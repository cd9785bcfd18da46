"""How much waits in the broker. Told by those who fill the queues and by those who empty them: where nobody runs who
empties one, nobody else could say that it grows."""

from events.broker.broker import Broker, Queue
from events.metrics.metrics import Metrics
from events.metrics.surveys import Ask


def tell_queue_lengths(broker: Broker, metrics: Metrics) -> Ask:
    messages = metrics.gauge(
        "millrace_queue_messages", "Messages that are ready in a queue of the broker.", {"queue": [*Queue]}
    )

    async def ask() -> None:
        for queue in Queue:
            messages.labels(queue).set(await broker.depth(queue))

    metrics.survey("queues", ask)
    return ask

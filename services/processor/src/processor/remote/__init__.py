"""Steps that others do: tasks out over RabbitMQ, beats, progress and results in."""

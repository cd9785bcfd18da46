#!/bin/sh
# As far as compose.yaml asks for it, what the image's own entrypoint does: a first user with a password and a virtual host.
set -eu
cat > /etc/rabbitmq/rabbitmq.conf <<CONF
default_user = $RABBITMQ_DEFAULT_USER
default_pass = $RABBITMQ_DEFAULT_PASS
default_vhost = $RABBITMQ_DEFAULT_VHOST
listeners.tcp.default = 5672
log.console = true
CONF
export HOME=/var/lib/rabbitmq
exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups /usr/lib/rabbitmq/bin/rabbitmq-server

from events.lifecycle import main
from gateway.app import open_service
from gateway.settings import GatewaySettings

main("gateway", GatewaySettings, open_service)

"""`python -m gateway`"""

from events.lifecycle import main
from gateway.app import open_service
from gateway.settings import GatewaySettings

if __name__ == "__main__":
    main("gateway", GatewaySettings, open_service)

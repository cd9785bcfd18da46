"""`python -m processor`"""

from events.lifecycle import main
from processor.app import open_service
from processor.settings import ProcessorSettings

if __name__ == "__main__":
    main("processor", ProcessorSettings, open_service)

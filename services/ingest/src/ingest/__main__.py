"""`python -m ingest`"""

from events.lifecycle import main
from ingest.app import open_service
from ingest.settings import IngestSettings

if __name__ == "__main__":
    main("ingest", IngestSettings, open_service)

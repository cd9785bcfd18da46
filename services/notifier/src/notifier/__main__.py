"""`python -m notifier`"""

from events.lifecycle import main
from notifier.app import open_service
from notifier.settings import NotifierSettings

if __name__ == "__main__":
    main("notifier", NotifierSettings, open_service)

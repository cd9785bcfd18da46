"""Writes them: `python -m deploy.monitoring`."""

from deploy.monitoring.files import files

for path, content in files().items():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    print(path)

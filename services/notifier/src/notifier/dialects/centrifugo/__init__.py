"""The Centrifugo client protocol (version 2, JSON), so that its published SDKs work as they are."""

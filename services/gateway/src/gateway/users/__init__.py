"""Who people are: accounts, sessions, invitations."""

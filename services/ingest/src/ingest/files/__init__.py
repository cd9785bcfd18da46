"""Files that arrive in pieces: what is stored of them, who holds them, and how they become uploads."""

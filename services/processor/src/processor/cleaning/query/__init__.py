"""Questions about the tables that a clean leaves, in a small language of our own: nobody sends us SQL."""

"""What is asked across features: how everything stands, what comes, why something did or did not."""

"""Who may come in: tokens, the sessions of browsers, and where the doors are."""

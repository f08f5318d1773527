"""What agents do: who is asked for what, who carries it out, what comes of the answer."""

"""What everything stands on, and stands on nothing itself: errors, references, instants, words, secrets."""

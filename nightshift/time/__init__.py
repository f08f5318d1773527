"""When things happen: zones, cadences, what to do when late. No clock is ever read here."""

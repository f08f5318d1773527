"""Running processes on one machine: supervising them, embedded servers, sockets, credentials, commands."""

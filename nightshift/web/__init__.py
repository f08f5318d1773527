"""The faces of the deployment: HTTP API, metrics, console."""

"""What runs the tasks: the Celery app, its queues and roles, the pool, beat and health."""

"""What the asyncio pool costs, against no queue at all and against taskiq."""

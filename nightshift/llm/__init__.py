"""What nightshift has to do with language models: asking one, paying for it, and standing in for one."""

"""What is measured, beside what a user would pick instead. Each module runs alone: `python -m bench.throughput`."""

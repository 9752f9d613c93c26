"""What does a sweep file ask for? Read, bound, counted and expanded, without holding its rows in memory."""

"""The engine of a simulated rank that may die, and the ULFM calls of those that survive: revoke, agree, shrink."""

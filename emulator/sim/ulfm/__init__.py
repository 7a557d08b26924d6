"""Deaths of simulated ranks and the ULFM calls of those that survive: revoke, agree, shrink, acknowledge."""

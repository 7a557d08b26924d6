"""New processes for the places of dead ranks: started, let into the job, and told who works where."""

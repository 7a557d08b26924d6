"""New processes for the places of dead ranks: started, admitted into the job, and told who works where."""

"""What a run and its files must survive: families of trials, each drawn from a seed."""

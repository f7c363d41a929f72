"""What other projects ask of their distributions, asked of ours."""

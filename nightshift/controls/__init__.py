"""What people decide while everything runs: switches, the freeze, shadow."""

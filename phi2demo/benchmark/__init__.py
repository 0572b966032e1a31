"""Speed comparisons with other software: both sides are measured in one run."""

"""Whether it helped: a student with and without its adapter, beside baselines and other weights."""

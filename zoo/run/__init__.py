"""A run: what composes, builds, resumes and reports it. The only room that knows Hydra and the Trainer."""

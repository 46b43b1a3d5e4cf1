"""What leaves a run: adapter, merged model, data and their cards. Not here: what people see of a run (report)."""

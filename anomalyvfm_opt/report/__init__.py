"""What people look at: summaries, tables, the dashboard."""

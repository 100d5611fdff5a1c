"""Runs migrations over the connection that loyalty.base.migrations opened, each in a transaction of its own."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()

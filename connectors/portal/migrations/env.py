"""Run the portal's migrations in the transaction that `connectors.portal.migrate` opened."""

from alembic import context

from connectors.portal.migrate import VERSION_TABLE
from connectors.portal.store import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()

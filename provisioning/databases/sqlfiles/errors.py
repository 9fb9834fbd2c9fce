"""What a folder of SQL files may not hold. Each is found before anything is run."""

from provisioning.errors import Permanent


class SqlRefused(Permanent):
    """The folder of SQL files cannot be published."""

    code = "SQL_REFUSED"


class FolderEmpty(SqlRefused):
    """There is no .sql file in the folder."""

    code = "SQL_FOLDER_EMPTY"
    cure = "Put the files there (0001_name.sql, …), or set TENANT_SQL to the folder that has them."


class FileMisnamed(SqlRefused):
    """A file's name does not say which step of which order it is."""

    code = "SQL_FILE_MISNAMED"
    cure = (
        "Name it as 0001_name.sql, its way back as 0001_name.down.sql: digits, then lower-case letters, digits and _."
    )


class FileOutOfOrder(SqlRefused):
    """A file does not stand where its number says."""

    code = "SQL_FILE_OUT_OF_ORDER"
    cure = "Give it a number of its own after all others, with as many digits as they have."


class FileChanged(SqlRefused):
    """A file was changed after it was published: tenants have run what it said before."""

    code = "SQL_FILE_CHANGED"
    cure = "Put its text back as it was, and write the change as a new file."


class FileGone(SqlRefused):
    """A file that was published is missing, and later ones are there."""

    code = "SQL_FILE_GONE"
    cure = "Put it back. What it made is taken away by a new file."


class FileUnreadable(SqlRefused):
    """A file is no SQL that PostgreSQL reads."""

    code = "SQL_FILE_UNREADABLE"
    cure = "Write it as PostgreSQL 18 reads it, in UTF-8."


class PsqlCommand(SqlRefused):
    """A file has a command of psql, which is a program of its own: PostgreSQL does not know it."""

    code = "SQL_FILE_HAS_PSQL_COMMAND"
    cure = r"Leave out what begins with a backslash. Write out what \i would read, and rows of COPY as INSERT."


class MarkerUnknown(SqlRefused):
    """A line `-- tenure: …` says what nobody knows, or stands below the first statement."""

    code = "SQL_MARKER_UNKNOWN"
    cure = "Begin the file with `-- tenure: data` or `-- tenure: not in a transaction`, or leave the line out."


class RowsUnmarked(SqlRefused):
    """Rows are changed in a file about tables, or tables in a file about rows: the latter runs once for each tenant."""

    code = "SQL_ROWS_UNMARKED"
    cure = "Put statements about rows in a file of their own that begins with `-- tenure: data`, and no others."


class TransactionControl(SqlRefused):
    """A file opens or closes a transaction. That is done by who runs it."""

    code = "SQL_TRANSACTION_CONTROL"
    cure = "Leave it out. What cannot run in a transaction: a file that begins with `-- tenure: not in a transaction`."


class OtherSchema(SqlRefused):
    """A statement names a schema. Each tenant has its own, and names are looked up there."""

    code = "SQL_OTHER_SCHEMA"
    cure = "Leave the schema's name out."


class NotTheFilesOwn(SqlRefused):
    """A statement changes what belongs to the database, to the session or to Tenure."""

    code = "SQL_NOT_THE_FILES_OWN"
    cure = "Leave it out."

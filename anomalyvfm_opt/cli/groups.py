"""Groups of commands, which answer a command that is not there with the one that was probably meant."""

from typing import Any

import typer
from typer.core import TyperGroup

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.words import ask_if_meant

# what other programs call the same: the first of them that a group has is meant
_SYNONYMS = {
    "start": ("up", "resume", "run"),
    "stop": ("down", "drain", "pause"),
    "status": ("show", "list"),
    "info": ("show",),
    "get": ("show",),
    "ls": ("list",),
    "rm": ("delete",),
    "remove": ("delete",),
    "new": ("create",),
    "add": ("create",),
    "init": ("create",),
    "migrate": ("upgrade",),
    "validate": ("check",),
    "continue": ("resume",),
}


class CommandGroup(TyperGroup):
    """Commands below one noun, or all of them."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the first argument names.

        Raises:
            UsageError: this group has none of that name.
        """
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            known = [name for name, command in self.commands.items() if not command.hidden]
            question = ask_if_meant(args[0].lower(), known) or self._ask_of_another(args[0].lower())
            message = f"{ctx.command_path} has no command {args[0]!r}"
            raise UsageError(f"{message}; {question}" if question else message, f"it has: {', '.join(known)}")
        return super().resolve_command(ctx, args)

    def _ask_of_another(self, word: str) -> str:
        """Ask for what other programs call so, here or below a noun; empty if that is nothing here."""
        for candidate in (word, *_SYNONYMS.get(word, ())):
            if candidate in self.commands:
                return f"did you mean {candidate!r}?"
            below = [
                f"'{noun} {candidate}'"
                for noun, command in self.commands.items()
                if isinstance(command, TyperGroup) and candidate in command.commands
            ]
            if below:
                return f"did you mean {' or '.join(below)}?"
        return ""


def make_group(help_text: str, **settings: Any) -> typer.Typer:
    """Return an empty group of commands, whose help is shown when no command is named."""
    return typer.Typer(cls=CommandGroup, no_args_is_help=True, help=help_text, **settings)

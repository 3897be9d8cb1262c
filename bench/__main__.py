"""`python -m bench` is the command `batchbench`."""

from bench.process_end import end, end_on_signals


def main() -> None:
    """Run the command; Ctrl-C and SIGTERM end it tidily from here on."""
    end_on_signals()
    try:
        from bench.cli import main as run  # after the signals: it takes a moment

        run()
    except KeyboardInterrupt:
        end()


if __name__ == "__main__":
    main()

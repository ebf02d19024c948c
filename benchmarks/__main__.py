"""Run every benchmark and print its figures; `make bench` calls this."""

from __future__ import annotations

from benchmarks import imports, scan, synchronisation, uploads, validation


def main() -> None:
    """Print each figure beside its floor and what is aimed at."""
    print("Validation, and sealing the key, against the bare cryptographic work (aim: at most 1.5 times)")
    for name, ratio in validation.measure():
        print(f"  {name:<12} {ratio.ours * 1e6:8.0f} µs   floor {ratio.floor * 1e6:8.0f} µs   {ratio.ratio:5.2f} times")
    print("Importing the upload function, against its unavoidable libraries (aim: at most 1.3 times)")
    ratio = imports.measure()
    print(f"  {'upload':<12} {ratio.ours * 1e3:8.0f} ms   floor {ratio.floor * 1e3:8.0f} ms   {ratio.ratio:5.2f} times")
    print("Uploads through the function, on moto in this process")
    for name, rate in uploads.on_moto():
        print(f"  {name:<12} {rate:8.1f} per second")
    print("Uploads through the running service over HTTP, with 1 and with 8 clients at once")
    for name, alone, together in uploads.on_the_running_service():
        print(f"  {name:<12} {alone:8.1f} per second   {together:8.1f} per second")
    print(f"Synchronising {synchronisation.COUNT:,} certificates of the built-in CA (aim: at most 5 write units each)")
    for name, figures in synchronisation.measure():
        units = f"{figures.write:5.2f} write units   {figures.read:5.2f} read units   " if figures.read else ""
        print(f"  {name:<12} {figures.rate:8.1f} per second   {units}{figures.uploaded:,} uploaded")
    print("A day's scan with 1 % due: read units against those of what is due alone (aim: at most 1.2 times)")
    for day in scan.measure():
        took = (
            f"{day.seconds:6.1f} s for the whole run on moto" if day.seconds else "calculated from the sizes of items"
        )
        units = f"{day.finding:9.1f} read units   floor {day.alone:9.1f}   {day.ratio:5.2f} times"
        print(f"  {day.held:>9,} held {day.due:>7,} due {units}   {took}")
    print("Memory of a scan")
    for count, megabytes in scan.peaks():
        print(f"  {count:>9,} due {megabytes:8.1f} MB at most")


if __name__ == "__main__":
    main()

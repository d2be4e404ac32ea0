"""Archives whose bytes depend on their entries alone: entries are sorted, and owner, mode and time are fixed.

An entry is (name, contents, executable). The time is in seconds since 1970."""
import gzip, io, tarfile, time, zipfile


def tar_gz(path, entries, seconds):
    with open(path, "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=seconds) as z, tarfile.open(fileobj=z, mode="w", format=tarfile.USTAR_FORMAT) as t:
        for name, contents, executable in sorted(entries):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(contents), seconds, 0o755 if executable else 0o644
            t.addfile(info, io.BytesIO(contents))


def zip_file(path, entries, seconds):
    """Keeps the order of the entries: a wheel's RECORD is last."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as z:
        for name, contents, executable in entries:
            info = zipfile.ZipInfo(name, time.gmtime(seconds)[:6])
            info.create_system, info.compress_type = 3, zipfile.ZIP_DEFLATED  # 3: modes are those of Unix
            info.external_attr = (0o100755 if executable else 0o100644) << 16
            z.writestr(info, contents)

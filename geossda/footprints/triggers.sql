-- What keeps index and count true while a layer is edited; made last, since SQLite alone has no
-- ST_MinX.
CREATE TRIGGER rtree_buildings_geom_insert AFTER INSERT ON buildings WHEN (new.geom NOT NULL AND
    NOT ST_IsEmpty(NEW.geom)) BEGIN INSERT OR REPLACE INTO rtree_buildings_geom VALUES
    (NEW.fid,ST_MinX(NEW.geom), ST_MaxX(NEW.geom),ST_MinY(NEW.geom), ST_MaxY(NEW.geom)); END;
CREATE TRIGGER rtree_buildings_geom_update1 AFTER UPDATE OF geom ON buildings WHEN OLD.fid =
    NEW.fid AND (NEW.geom NOTNULL AND NOT ST_IsEmpty(NEW.geom)) BEGIN INSERT OR REPLACE INTO
    rtree_buildings_geom VALUES (NEW.fid,ST_MinX(NEW.geom), ST_MaxX(NEW.geom),ST_MinY(NEW.geom),
    ST_MaxY(NEW.geom)); END;
CREATE TRIGGER rtree_buildings_geom_update2 AFTER UPDATE OF geom ON buildings WHEN OLD.fid =
    NEW.fid AND (NEW.geom ISNULL OR ST_IsEmpty(NEW.geom)) BEGIN DELETE FROM rtree_buildings_geom
    WHERE id = OLD.fid; END;
CREATE TRIGGER rtree_buildings_geom_update3 AFTER UPDATE ON buildings WHEN OLD.fid != NEW.fid
    AND (NEW.geom NOTNULL AND NOT ST_IsEmpty(NEW.geom)) BEGIN DELETE FROM rtree_buildings_geom
    WHERE id = OLD.fid; INSERT OR REPLACE INTO rtree_buildings_geom VALUES
    (NEW.fid,ST_MinX(NEW.geom), ST_MaxX(NEW.geom),ST_MinY(NEW.geom), ST_MaxY(NEW.geom)); END;
CREATE TRIGGER rtree_buildings_geom_update4 AFTER UPDATE ON buildings WHEN OLD.fid != NEW.fid
    AND (NEW.geom ISNULL OR ST_IsEmpty(NEW.geom)) BEGIN DELETE FROM rtree_buildings_geom WHERE
    id IN (OLD.fid, NEW.fid); END;
CREATE TRIGGER rtree_buildings_geom_delete AFTER DELETE ON buildings WHEN old.geom NOT NULL
    BEGIN DELETE FROM rtree_buildings_geom WHERE id = OLD.fid; END;
CREATE TRIGGER trigger_insert_feature_count_buildings AFTER INSERT ON buildings BEGIN UPDATE
    gpkg_ogr_contents SET feature_count = feature_count + 1 WHERE lower(table_name) =
    lower('buildings'); END;
CREATE TRIGGER trigger_delete_feature_count_buildings AFTER DELETE ON buildings BEGIN UPDATE
    gpkg_ogr_contents SET feature_count = feature_count - 1 WHERE lower(table_name) =
    lower('buildings'); END;

-- tenure: data
DELETE FROM product WHERE name = 'A gift for regulars';
